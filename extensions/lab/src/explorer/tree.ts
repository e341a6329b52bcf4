/** A tree that is loaded as it is opened, and seen as a list of rows. No DOM here. */

export type Kind = 'group' | 'entity' | 'array' | 'more' | 'note';

/** What a row shows and stands for. */
export interface Item {
  /** Unique among its siblings, and the same after a reload. */
  id: string;
  kind: Kind;
  label: string;
  /** Beside the label: a type, a number, a shape. */
  hint?: string;
  state?: string;
  /** Where the resource is. */
  href?: string;
  /** Loads what is below; without it the item is a leaf. */
  load?: Load;
}

/** A page of items; `next` leads to the following one, "" at the end. */
export interface Items {
  items: Item[];
  next: string;
  total?: number;
}

export type Load = (next: string, signal: AbortSignal) => Promise<Items>;

export interface Row {
  key: string;
  item: Item;
  depth: number;
  parent: Row | null;
  isOpen: boolean;
  /** Position among its siblings from 1, and how many these are; -1 when nobody knows. */
  position: number;
  siblings: number;
}

interface Branch {
  items: Item[];
  next: string;
  total: number;
  isLoading: boolean;
  error: unknown;
}

/**
 * The rows of what is open.
 *
 * `changed` is called after each change. Loading twice at once is one request; `close` ends those that run. A branch
 * that failed shows a row of kind "note" whose `load` nobody calls: opening the branch again tries again.
 */
export class Tree {
  constructor(
    private readonly top: Load,
    private readonly changed: () => void,
    open: string[] = []
  ) {
    this._open = new Set(open);
  }

  /** The keys of what is open, to be given to the next tree. */
  get open(): string[] {
    return [...this._open];
  }

  /** Why the top could not be loaded. */
  get error(): unknown {
    return this._branches.get('')?.error ?? null;
  }

  get isLoaded(): boolean {
    return this._branches.get('')?.items !== undefined && !(this._branches.get('')?.isLoading && this.rows.length < 2);
  }

  /** How many items the top has in all. */
  get total(): number {
    return this._branches.get('')?.total ?? 0;
  }

  get rows(): readonly Row[] {
    this._rows ??= this.flatten();
    return this._rows;
  }

  start(): Promise<void> {
    return this.load('', this.top);
  }

  async toggle(row: Row, open = !row.isOpen): Promise<void> {
    if (!row.item.load || open === this._open.has(row.key)) {
      return;
    }
    if (!open) {
      this._open.delete(row.key);
      this.touch();
      return;
    }
    this._open.add(row.key);
    const branch = this._branches.get(row.key);
    this.touch();
    if (!branch || branch.error) {
      await this.load(row.key, row.item.load);
    }
  }

  /** Load the page that a row of kind "more" stands for. */
  async more(row: Row): Promise<void> {
    const load = row.parent ? row.parent.item.load : this.top;
    if (load) {
      await this.load(row.parent?.key ?? '', load);
    }
  }

  /** Ends requests; nothing is called any more. */
  close(): void {
    this._abort.abort();
  }

  private async load(key: string, load: Load): Promise<void> {
    const branch = this._branches.get(key) ?? { items: [], next: '', total: -1, isLoading: false, error: null };
    if (branch.isLoading) {
      return;
    }
    this._branches.set(key, branch);
    branch.isLoading = true;
    branch.error = null;
    this.touch();
    let fresh: Item[] = [];
    try {
      const page = await load(branch.next, this._abort.signal);
      fresh = page.items;
      branch.items.push(...fresh);
      branch.next = page.next;
      branch.total = page.total ?? (page.next ? -1 : branch.items.length);
    } catch (error) {
      branch.error = error;
    }
    if (this._abort.signal.aborted) {
      return;
    }
    branch.isLoading = false;
    this.touch();
    const open = fresh.filter(item => item.load && this._open.has(`${key}/${item.id}`));
    await Promise.all(open.map(item => this.load(`${key}/${item.id}`, item.load!)));
  }

  private touch(): void {
    this._rows = null;
    if (!this._abort.signal.aborted) {
      this.changed();
    }
  }

  private flatten(): Row[] {
    const rows: Row[] = [];
    const add = (key: string, parent: Row | null, depth: number): void => {
      const branch = this._branches.get(key);
      const items = branch?.items ?? [];
      items.forEach((item, index) => {
        const below = `${key}/${item.id}`;
        const isOpen = Boolean(item.load) && this._open.has(below);
        const row = { key: below, item, depth, parent, isOpen, position: index + 1, siblings: branch?.total ?? -1 };
        rows.push(row);
        if (isOpen) {
          add(below, row, depth + 1);
        }
      });
      const end = this.ending(branch);
      if (end) {
        const row = { key: `${key}/\u0000${end.id}`, item: end, depth, parent, isOpen: false };
        rows.push({ ...row, position: items.length + 1, siblings: -1 });
      }
    };
    add('', null, 0);
    return rows;
  }

  private ending(branch: Branch | undefined): Item | null {
    if (!branch || branch.isLoading) {
      return { id: 'loading', kind: 'note', label: '', hint: 'loading' };
    }
    if (branch.error) {
      const label = branch.error instanceof Error ? branch.error.message : String(branch.error);
      return { id: 'error', kind: 'note', label, hint: 'error' };
    }
    if (branch.next) {
      return { id: 'more', kind: 'more', label: '' };
    }
    return branch.items.length ? null : { id: 'empty', kind: 'note', label: '', hint: 'empty' };
  }

  private readonly _open: Set<string>;
  private readonly _branches = new Map<string, Branch>();
  private readonly _abort = new AbortController();
  private _rows: Row[] | null = null;
}
