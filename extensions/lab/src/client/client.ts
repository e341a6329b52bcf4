import type { Link, Root } from './api.js';
import { Problem, problemOf } from './problem.js';

/** Sends a request with the server's token and XSRF cookie. */
export type Send = (url: string, init: RequestInit) => Promise<Response>;

export interface Options {
  /** A parameter may stand several times. */
  query?: Record<string, string | number | string[] | undefined>;
  signal?: AbortSignal;
  accept?: string;
}

export interface Answer<T> {
  body: T;
  /** For If-Match: the version that was read. */
  etag: string;
}

const ATTEMPTS = 4;
const FIRST_PAUSE = 250;
const REMEMBERED = 200;

/**
 * The REST door, as the panels use it.
 *
 * - Reading is tried again, after 0.25, 0.5 and 1 s, while the server is away or busy. Writing is sent once.
 * - What was read before is asked for with its ETag; a 304 gives the object of before, so `===` tells that nothing
 *   changed.
 * - Every request can be aborted; it then rejects with an `AbortError`.
 */
export class Client {
  constructor(
    private readonly send: Send,
    readonly base: string,
    private readonly pause: (ms: number) => Promise<void> = ms => new Promise(done => setTimeout(done, ms))
  ) {}

  /** Who one is here, asked once. */
  root(): Promise<Root> {
    this._root ??= this.get<Root>('/').catch((error: unknown) => {
      this._root = null;
      throw error;
    });
    return this._root;
  }

  /** The URL of a path of the API, or of a link that it gave. */
  url(path: string, query: Options['query'] = {}): string {
    const own = new URL(this.base);
    const url = new URL(path.startsWith(own.pathname) ? path : own.pathname + path, own);
    for (const [name, value] of Object.entries(query)) {
      for (const one of Array.isArray(value) ? value : [value]) {
        if (one !== undefined && one !== '') {
          url.searchParams.append(name, String(one));
        }
      }
    }
    return url.href;
  }

  async get<T>(path: string, options: Options = {}): Promise<T> {
    return (await this.read<T>(path, options)).body;
  }

  /** A JSON resource with its version. */
  async read<T>(path: string, options: Options = {}): Promise<Answer<T>> {
    const url = this.url(path, options.query);
    const known = this._known.get(url);
    const headers: Record<string, string> = { Accept: 'application/json' };
    if (known) {
      headers['If-None-Match'] = known.etag;
    }
    const answer = await this.persist(url, { headers, signal: options.signal, cache: known ? 'default' : 'reload' });
    if (answer.status === 304 && known) {
      return known as Answer<T>;
    }
    const found = { body: (await answer.json()) as T, etag: answer.headers.get('ETag') ?? '' };
    if (found.etag) {
      this.remember(url, found);
    }
    return found;
  }

  /** Bytes, as a slice of an array in NumPy's format. */
  async bytes(path: string, options: Options & { accept: string }): Promise<ArrayBuffer> {
    const headers = { Accept: options.accept };
    const answer = await this.persist(this.url(path, options.query), { headers, signal: options.signal });
    return answer.arrayBuffer();
  }

  /** Follow a link that writes. With `etag` it is refused when the resource has changed meanwhile. */
  async write<T>(link: Link, body?: object, etag = ''): Promise<T | null> {
    const headers: Record<string, string> = { Accept: 'application/json' };
    if (body) {
      headers['Content-Type'] = link.method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    }
    if (etag) {
      headers['If-Match'] = etag;
    }
    const init = { method: link.method, headers, body: body ? JSON.stringify(body) : undefined };
    const answer = await this.once(this.url(link.href), init);
    return answer.status === 204 ? null : ((await answer.json()) as T);
  }

  private async persist(url: string, init: RequestInit): Promise<Response> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.once(url, init);
      } catch (error) {
        if (!(error instanceof Problem) || !error.isPassing || attempt === ATTEMPTS) {
          throw error;
        }
        await this.pause(FIRST_PAUSE * 2 ** (attempt - 1));
        init.signal?.throwIfAborted();
      }
    }
  }

  private async once(url: string, init: RequestInit): Promise<Response> {
    let answer: Response;
    try {
      answer = await this.send(url, { cache: 'default', ...init }); // for no-store, JupyterLab adds a parameter
    } catch (error) {
      if (init.signal?.aborted) {
        throw new DOMException('Aborted', 'AbortError');
      }
      throw new Problem('', 0, error instanceof Error ? error.message : String(error));
    }
    init.signal?.throwIfAborted();
    if (!answer.ok && answer.status !== 304) {
      throw await problemOf(answer);
    }
    return answer;
  }

  private remember(url: string, found: Answer<unknown>): void {
    this._known.delete(url);
    this._known.set(url, found);
    const oldest = this._known.keys().next();
    if (this._known.size > REMEMBERED && !oldest.done) {
      this._known.delete(oldest.value);
    }
  }

  private _root: Promise<Root> | null = null;
  private readonly _known = new Map<string, Answer<unknown>>();
}

/** Whether a request ended because nobody waits for it any more. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'AbortError';
}
