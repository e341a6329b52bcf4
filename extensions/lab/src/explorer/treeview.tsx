import * as React from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';
import { caretDownIcon, caretRightIcon } from '@jupyterlab/ui-components';
import { Badge } from '../parts/notice.js';
import { arrayIcon } from '../parts/icons.js';
import type { Row, Tree } from './tree.js';

const HEIGHT = 24;
const MARGIN = 10;

export interface Choice {
  row: Row | null;
  choose: (row: Row) => void;
  /** Enter or a double click. */
  act: (row: Row) => void;
  drag: (row: Row, event: React.PointerEvent) => void;
}

/**
 * The rows of a tree, as many in the page as are seen. One stop of the Tab key: arrows move, right and left open and
 * close, letters find, Enter acts.
 */
export function TreeView(props: { tree: Tree; choice: Choice; label: string; trans: TranslationBundle }): JSX.Element {
  const { tree, choice, trans } = props;
  const rows = tree.rows;
  const box = React.useRef<HTMLDivElement>(null);
  const [seen, setSeen] = React.useState({ top: 0, height: 600 });
  const typed = React.useRef({ text: '', at: 0 });
  React.useLayoutEffect(() => {
    const element = box.current!;
    const look = (): void => setSeen({ top: element.scrollTop, height: element.clientHeight });
    const sizes = new ResizeObserver(look);
    sizes.observe(element);
    element.addEventListener('scroll', look, { passive: true });
    return () => {
      sizes.disconnect();
      element.removeEventListener('scroll', look);
    };
  }, []);
  const first = Math.max(0, Math.floor(seen.top / HEIGHT) - MARGIN);
  const last = Math.min(rows.length, Math.ceil((seen.top + seen.height) / HEIGHT) + MARGIN);
  const visible = rows.slice(first, last);
  const chosen = choice.row ? rows.findIndex(row => row.key === choice.row!.key) : -1;
  if (chosen >= 0 && (chosen < first || chosen >= last)) {
    visible.push(rows[chosen]!); // what aria-activedescendant names has to be there
  }
  React.useEffect(() => {
    const end = rows.slice(first, last).find(row => row.item.kind === 'more');
    if (end) {
      void tree.more(end);
    }
  });

  const move = (index: number): void => {
    const row = rows[Math.max(0, Math.min(rows.length - 1, index))];
    const element = box.current!;
    if (row) {
      choice.choose(row);
      const top = rows.indexOf(row) * HEIGHT;
      if (top < element.scrollTop) {
        element.scrollTop = top;
      } else if (top + HEIGHT > element.scrollTop + element.clientHeight) {
        element.scrollTop = top + HEIGHT - element.clientHeight;
      }
    }
  };
  const find = (letter: string): void => {
    const now = Date.now();
    typed.current = { text: now - typed.current.at < 700 ? typed.current.text + letter : letter, at: now };
    const text = typed.current.text.toLowerCase();
    const start = Math.max(0, chosen) + (text.length === 1 ? 1 : 0);
    const order = [...rows.keys()].map(index => (index + start) % rows.length);
    const found = order.find(index => rows[index]!.item.label.toLowerCase().startsWith(text));
    if (found !== undefined) {
      move(found);
    }
  };
  const onKeyDown = (event: React.KeyboardEvent): void => {
    const row = chosen >= 0 ? rows[chosen]! : null;
    const screenful = Math.max(1, Math.floor(seen.height / HEIGHT) - 1);
    const steps: Record<string, () => void> = {
      ArrowDown: () => move(chosen + 1),
      ArrowUp: () => move(chosen - 1),
      PageDown: () => move(chosen + screenful),
      PageUp: () => move(chosen - screenful),
      Home: () => move(0),
      End: () => move(rows.length - 1),
      ArrowRight: () => row && (row.isOpen ? move(chosen + 1) : void tree.toggle(row, true)),
      ArrowLeft: () => row && (row.isOpen ? void tree.toggle(row, false) : row.parent && move(rows.indexOf(row.parent))),
      Enter: () => row && choice.act(row),
      ' ': () => row && void tree.toggle(row)
    };
    const step = steps[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    if (step) {
      step();
    } else if (event.key.length === 1) {
      find(event.key);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div
      ref={box}
      className="wl-tree"
      role="tree"
      tabIndex={0}
      aria-label={props.label}
      aria-activedescendant={chosen >= 0 ? idOf(rows[chosen]!) : undefined}
      onKeyDown={onKeyDown}
      onFocus={() => chosen < 0 && rows[0] && choice.choose(rows[0])}
    >
      <div role="presentation" style={{ height: rows.length * HEIGHT, position: 'relative' }}>
        {visible.map(row => (
          <TreeRow key={row.key} row={row} top={rows.indexOf(row) * HEIGHT} tree={tree} choice={choice} trans={trans} />
        ))}
      </div>
    </div>
  );
}

function TreeRow(props: { row: Row; top: number; tree: Tree; choice: Choice; trans: TranslationBundle }): JSX.Element {
  const { row, tree, choice, trans } = props;
  const { item } = row;
  const Caret = row.isOpen ? caretDownIcon : caretRightIcon;
  const isChosen = choice.row?.key === row.key;
  return (
    <div
      id={idOf(row)}
      role="treeitem"
      aria-level={row.depth + 1}
      aria-setsize={row.siblings}
      aria-posinset={row.position}
      aria-selected={isChosen}
      aria-expanded={item.load ? row.isOpen : undefined}
      className={`wl-row wl-kind-${item.kind} ${isChosen ? 'jp-mod-selected' : ''} ${item.hint === 'error' ? 'wl-mod-error' : ''}`}
      data-kind={item.kind}
      style={{ top: props.top, paddingLeft: 4 + row.depth * 14 }}
      title={[item.label, item.hint].filter(Boolean).join(' – ')}
      onClick={() => choice.choose(row)}
      onContextMenu={() => choice.choose(row)}
      onDoubleClick={() => choice.act(row)}
      onPointerDown={event => choice.drag(row, event)}
    >
      <span className="wl-caret" onClick={() => void tree.toggle(row)}>
        {item.load && <Caret.react tag="span" width="14px" />}
        {item.kind === 'array' && <arrayIcon.react tag="span" width="14px" />}
      </span>
      <span className="wl-label">{wordsOf(row, trans)}</span>
      {item.kind !== 'note' && item.hint && <span className="wl-hint">{item.hint}</span>}
      {item.state && <Badge state={item.state} />}
    </div>
  );
}

function wordsOf(row: Row, trans: TranslationBundle): string {
  const { kind, hint, label } = row.item;
  if (kind === 'more' || hint === 'loading') {
    return trans.__('Loading …');
  }
  return kind === 'note' && hint === 'empty' ? trans.__('Nothing here') : label;
}

function idOf(row: Row): string {
  return `wl-row-${row.key.replace(/[^\w-]/g, char => `_${char.charCodeAt(0).toString(16)}`)}`;
}
