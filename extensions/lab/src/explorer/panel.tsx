import * as React from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, refreshIcon } from '@jupyterlab/ui-components';
import { Signal } from '@lumino/signaling';
import type { Entity, Page, TypeDetail, TypeInfo } from '../client/api.js';
import type { Client } from '../client/client.js';
import { explorerIcon } from '../parts/icons.js';
import { Notice } from '../parts/notice.js';
import type { Target } from './code.js';
import { Detail } from './detail.js';
import { Form } from './form.js';
import { byAsset, byRole, bySearch } from './sources.js';
import { Tree } from './tree.js';
import type { Row } from './tree.js';
import { TreeView } from './treeview.js';

export type View = 'role' | 'asset';

/** What is there again after a reload. */
export interface Kept {
  view: View;
  text: string;
  state: string;
  open: Record<string, string[]>;
  href: string;
}

export interface Actions {
  /** Code for what was chosen, into the notebook. */
  insert: (target: Target) => void;
  drag: (target: Target, event: React.PointerEvent) => void;
}

const STATES = ['draft', 'validated', 'archived', 'planned', 'confirmed', 'started', 'stopped', 'delivered', 'cancelled'];
const ALL_STATES = [...STATES, 'default', 'invalidated', 'open', 'in_progress', 'resolved', 'closed'];

/** The explorer in the sidebar. Commands act on `target`, what is chosen in it. */
export class ExplorerPanel extends ReactWidget {
  constructor(
    private readonly client: Client,
    private readonly trans: TranslationBundle,
    private readonly actions: Actions
  ) {
    super();
    this.id = 'wendelin-explorer';
    this.addClass('wl-panel');
    this.title.icon = explorerIcon;
    this.title.caption = trans.__('Wendelin: entities and arrays');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('Wendelin explorer'));
  }

  /** Emitted when something changed that is there again after a reload. */
  readonly keeping = new Signal<this, Kept>(this);
  readonly kept: Kept = { view: 'role', text: '', state: '', open: {}, href: '' };
  private isReady = false;
  row: Row | null = null;

  /** What code can be made for. */
  get target(): Target | null {
    return this.row ? targetOf(this.row) : null;
  }

  /** Show it, as it was left. */
  begin(kept: Partial<Kept>): void {
    Object.assign(this.kept, kept);
    this.isReady = true;
    this.update();
  }

  refresh(): void {
    this.refreshed.emit();
  }

  focusSearch(): void {
    this.node.querySelector<HTMLInputElement>('input[type=search]')?.focus();
  }

  keep(change: Partial<Kept>): void {
    Object.assign(this.kept, change);
    this.keeping.emit(this.kept);
  }

  protected render(): React.ReactElement {
    if (!this.isReady) {
      return <Notice trans={this.trans} text={this.trans.__('Loading…')} />;
    }
    return <Explorer panel={this} client={this.client} trans={this.trans} actions={this.actions} />;
  }

  readonly refreshed = new Signal<this, void>(this);
}

/** An array's entity is the row above it. */
export function targetOf(row: Row): Target | null {
  const entity = row.item.kind === 'array' ? row.parent : row;
  if (entity?.item.kind !== 'entity') {
    return null;
  }
  const reference = entity.item.hint || entity.item.label;
  return row.item.kind === 'array' ? { reference, array: row.item.label } : { reference };
}

function Explorer(props: {
  panel: ExplorerPanel;
  client: Client;
  trans: TranslationBundle;
  actions: Actions;
}): JSX.Element {
  const { panel, client, trans, actions } = props;
  const [view, setView] = React.useState(panel.kept.view);
  const [text, setText] = React.useState(panel.kept.text);
  const [state, setState] = React.useState(panel.kept.state);
  const [href, setHref] = React.useState(panel.kept.href);
  const [row, setRow] = React.useState<Row | null>(null);
  const [isNew, setNew] = React.useState(false);
  const [round, setRound] = React.useState(0);
  const settled = useSettled(text.trim(), 250);
  const tree = useTree(client, trans, panel, { view, text: settled, state, round });
  React.useEffect(() => panel.keep({ view, text, state, href }), [panel, view, text, state, href]);
  React.useEffect(() => {
    const again = (): void => setRound(one => one + 1);
    panel.refreshed.connect(again);
    return () => void panel.refreshed.disconnect(again);
  }, [panel]);
  const show = (to: string): void => {
    setNew(false);
    setHref(to);
  };
  const choose = (chosen: Row): void => {
    setRow(chosen);
    panel.row = chosen;
    const entity = chosen.item.kind === 'array' ? chosen.parent : chosen;
    if (entity?.item.kind === 'entity' && entity.item.href) {
      show(entity.item.href);
    }
  };
  const act = (chosen: Row): void => {
    const target = targetOf(chosen);
    if (chosen.item.kind === 'note') {
      setRound(one => one + 1);
    } else if (target) {
      actions.insert(target);
    } else {
      void tree.toggle(chosen);
    }
  };
  const drag = (chosen: Row, event: React.PointerEvent): void => {
    const target = targetOf(chosen);
    if (target) {
      actions.drag(target, event);
    }
  };
  const empty = tree.rows.length === 1 && tree.rows[0]!.item.hint === 'empty';
  return (
    <>
      <div className="wl-toolbar">
        <input
          type="search"
          className="jp-mod-styled"
          value={text}
          placeholder={trans.__('Search')}
          aria-label={trans.__('Search entities')}
          onChange={event => setText(event.target.value)}
        />
        <select
          className="jp-mod-styled"
          aria-label={trans.__('Order of the tree')}
          value={view}
          disabled={settled !== ''}
          onChange={event => setView(event.target.value as View)}
        >
          <option value="role">{trans.__('By role')}</option>
          <option value="asset">{trans.__('By asset')}</option>
        </select>
        <select
          className="jp-mod-styled"
          aria-label={trans.__('State')}
          value={state}
          onChange={event => setState(event.target.value)}
        >
          <option value="">{trans.__('Any state')}</option>
          {ALL_STATES.map(one => (
            <option key={one} value={one}>
              {one.replace(/_/g, ' ')}
            </option>
          ))}
        </select>
        <New client={client} trans={trans} isOpen={isNew} toggle={() => setNew(!isNew)} />
        <button
          className="jp-mod-styled jp-mod-minimal wl-icon"
          aria-label={trans.__('Refresh')}
          title={trans.__('Refresh')}
          onClick={() => setRound(round + 1)}
        >
          <refreshIcon.react tag="span" width="16px" />
        </button>
      </div>
      {settled !== '' && tree.total > 0 && (
        <p className="wl-count" role="status">
          {trans._n('%1 entity', '%1 entities', tree.total)}
        </p>
      )}
      {tree.error ? (
        <Notice trans={trans} error={tree.error} retry={() => setRound(round + 1)} />
      ) : empty ? (
        <Notice trans={trans} text={settled ? trans.__('Nothing fits “%1”.', settled) : trans.__('No entities yet.')} />
      ) : (
        <TreeView tree={tree} choice={{ row, choose, act, drag }} label={trans.__('Entities')} trans={trans} />
      )}
      {(isNew || href) && (
        <div className="wl-below" role="region" aria-label={trans.__('Details')}>
          <button
            className="jp-mod-styled jp-mod-minimal wl-close"
            aria-label={trans.__('Close details')}
            onClick={() => {
              setNew(false);
              setHref('');
            }}
          >
            ×
          </button>
          {isNew ? (
            <Making client={client} trans={trans} show={show} done={() => setRound(round + 1)} cancel={() => setNew(false)} />
          ) : (
            <Detail
              client={client}
              href={href}
              trans={trans}
              show={show}
              insert={actions.insert}
              changed={() => setRound(round + 1)}
            />
          )}
        </div>
      )}
    </>
  );
}

/** The button that makes an entity, for who may. */
function New(props: { client: Client; trans: TranslationBundle; isOpen: boolean; toggle: () => void }): JSX.Element | null {
  const { client, trans } = props;
  const [may, setMay] = React.useState(false);
  React.useEffect(() => {
    client.root().then(root => setMay('create' in root._links), () => setMay(false));
  }, [client]);
  if (!may) {
    return null;
  }
  return (
    <button className="jp-mod-styled" aria-expanded={props.isOpen} onClick={props.toggle}>
      {trans.__('New')}
    </button>
  );
}

function Making(props: {
  client: Client;
  trans: TranslationBundle;
  show: (href: string) => void;
  done: () => void;
  cancel: () => void;
}): JSX.Element {
  const { client, trans } = props;
  const [types, setTypes] = React.useState<TypeInfo[]>([]);
  const [type, setType] = React.useState<TypeDetail | null>(null);
  const [error, setError] = React.useState<unknown>(null);
  React.useEffect(() => {
    client.get<Page<TypeInfo>>('/types').then(page => setTypes(page.items), setError);
  }, [client]);
  const take = (name: string): void => {
    client.get<TypeDetail>(`/types/${encodeURIComponent(name)}`).then(setType, setError);
  };
  const made = (entity: Entity): void => {
    props.show(entity._links.self!.href);
    props.done();
  };
  return (
    <>
      <div className="wl-entry">
        <label htmlFor="wl-new-type">{trans.__('Type')}</label>
        <select id="wl-new-type" className="jp-mod-styled" value={type?.type ?? ''} onChange={e => take(e.target.value)}>
          <option value="" disabled>
            {trans.__('Choose a type')}
          </option>
          {types.map(one => (
            <option key={one.type}>{one.type}</option>
          ))}
        </select>
      </div>
      {error !== null && <Notice trans={trans} error={error} />}
      {type?._links.create && (
        <Form
          key={type.type}
          client={client}
          trans={trans}
          type={type}
          link={type._links.create}
          done={made}
          cancel={props.cancel}
        />
      )}
    </>
  );
}

/** A text, once nobody has typed for a while. */
function useSettled(text: string, ms: number): string {
  const [settled, setSettled] = React.useState(text);
  React.useEffect(() => {
    const timer = setTimeout(() => setSettled(text), ms);
    return () => clearTimeout(timer);
  }, [text, ms]);
  return settled;
}

interface Asked {
  view: View;
  text: string;
  state: string;
  round: number;
}

/** The tree of what is asked for; what was open in the same view stays open. */
function useTree(client: Client, trans: TranslationBundle, panel: ExplorerPanel, asked: Asked): Tree {
  const [, redraw] = React.useReducer((count: number) => count + 1, 0);
  const { view, text, state, round } = asked;
  const tree = React.useMemo(() => {
    const name = text ? 'search' : view;
    const titles: Record<string, string> = {
      node: trans.__('Nodes'),
      resource: trans.__('Resources'),
      item: trans.__('Items'),
      path: trans.__('Paths'),
      movement: trans.__('Movements')
    };
    const filter = { text, state };
    const roles = byRole(client, filter, role => titles[role]!);
    const load = text ? bySearch(client, filter) : view === 'asset' ? byAsset(client, filter) : roles;
    const made: Tree = new Tree(
      load,
      () => {
        panel.keep({ open: { ...panel.kept.open, [name]: made.open } });
        redraw();
      },
      panel.kept.open[name]
    );
    return made;
  }, [client, trans, panel, view, text, state, round]);
  React.useEffect(() => {
    void tree.start();
    return () => tree.close();
  }, [tree]);
  return tree;
}
