/** What went wrong, in the words of the server (RFC 9457), or that it did not answer. */

export interface FieldProblem {
  where: string;
  message: string;
}

export class Problem extends Error {
  constructor(
    readonly kind: string,
    readonly status: number,
    message: string,
    readonly errors: FieldProblem[] = []
  ) {
    super(message);
    this.name = 'Problem';
  }

  /** Whether the same request may succeed later. */
  get isPassing(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }

  /** The server is away; what is shown may be old. */
  get isDisconnected(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 504;
  }
}

/** The problem that an answer tells; also of proxies, which answer in HTML. */
export async function problemOf(answer: Response): Promise<Problem> {
  try {
    const found = (await answer.json()) as { type?: string; detail?: string; title?: string; errors?: FieldProblem[] };
    const kind = (found.type ?? '').split('/').pop() ?? '';
    return new Problem(kind, answer.status, found.detail ?? found.title ?? answer.statusText, found.errors ?? []);
  } catch {
    return new Problem('', answer.status, `${answer.status} ${answer.statusText}`);
  }
}
