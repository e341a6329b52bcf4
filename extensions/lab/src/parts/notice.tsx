import * as React from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Problem } from '../client/problem.js';

/** What stands where there is nothing to show: it loads, is empty, failed, or the server is away. */
export function Notice(props: {
  trans: TranslationBundle;
  error?: unknown;
  text?: string;
  retry?: () => void;
}): JSX.Element {
  const { trans, error, retry } = props;
  if (!error) {
    return (
      <p className="wl-notice" role="status">
        {props.text}
      </p>
    );
  }
  const isAway = error instanceof Problem && error.isDisconnected;
  return (
    <div className={`wl-notice ${isAway ? 'wl-mod-away' : 'wl-mod-error'}`} role="alert">
      <p>{isAway ? trans.__('Disconnected: the server does not answer.') : messageOf(error)}</p>
      {retry && (
        <button className="jp-mod-styled jp-mod-minimal" onClick={retry}>
          {trans.__('Try again')}
        </button>
      )}
    </div>
  );
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** An entity's state, in words and colour. */
export function Badge(props: { state: string }): JSX.Element {
  return <span className={`wl-badge wl-state-${props.state}`}>{props.state.replace(/_/g, ' ')}</span>;
}
