import { Poll } from '@lumino/polling';
import type { IDisposable } from '@lumino/disposable';

/**
 * Call `look` every `seconds`, from now on, as long as the page and the panel are visible; after failures more and
 * more rarely, up to once in two minutes.
 */
export function watch(
  name: string,
  seconds: number,
  look: () => Promise<void>,
  isVisible: () => boolean
): Poll<void, unknown> & IDisposable {
  return new Poll<void, unknown>({
    name,
    factory: look,
    frequency: { interval: seconds * 1000, backoff: true, max: 120_000 },
    standby: () => (isVisible() ? 'when-hidden' : true)
  });
}
