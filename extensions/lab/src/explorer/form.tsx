import * as React from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Entity, Link, Page, TypeDetail } from '../client/api.js';
import type { Answer, Client } from '../client/client.js';
import { Problem } from '../client/problem.js';
import { messageOf } from '../parts/notice.js';
import { changesOf, fieldsOf, textOf } from './fields.js';
import type { Field } from './fields.js';

/** The form of a type, to change an entity or to make one. */
export function Form(props: {
  client: Client;
  trans: TranslationBundle;
  type: TypeDetail;
  /** What is changed; without it a new one is made. */
  entity?: Answer<Entity>;
  link: Link;
  done: (entity: Entity) => void;
  cancel: () => void;
}): JSX.Element {
  const { client, trans, type, entity } = props;
  const fields = React.useMemo(() => fieldsOf(type.form), [type]);
  const before = React.useMemo(
    () => Object.fromEntries(fields.map(one => [one.name, entity ? textOf(entity.body[one.name]) : ''])),
    [fields, entity]
  );
  const [now, setNow] = React.useState<Record<string, string>>(before);
  const [reference, setReference] = React.useState('');
  const [errors, setErrors] = React.useState<Record<string, string>>({});
  const [error, setError] = React.useState('');
  const [isBusy, setBusy] = React.useState(false);
  const send = async (event: React.FormEvent): Promise<void> => {
    event.preventDefault();
    const changes = changesOf(fields, before, now);
    setErrors(changes.errors);
    setError('');
    if (Object.keys(changes.errors).length) {
      return;
    }
    const extra = entity ? {} : { type: type.type, ...(reference ? { reference } : {}) };
    setBusy(true);
    try {
      const made = await client.write<Entity>(props.link, { ...extra, ...changes.values }, entity?.etag);
      props.done(made!);
    } catch (problem) {
      const told = problem instanceof Problem ? problem.errors : [];
      const known = told.filter(one => fields.some(field => field.name === one.where));
      setErrors(Object.fromEntries(known.map(one => [one.where, one.message])));
      setError(known.length ? '' : messageOf(problem));
      setBusy(false);
    }
  };
  return (
    <form className="wl-form" onSubmit={event => void send(event)} aria-label={entity?.body.reference ?? type.type}>
      <h3>{entity ? trans.__('Edit %1', entity.body.reference) : trans.__('New %1', type.type)}</h3>
      <p className="wl-help">{type.description}</p>
      {!entity && (
        <label>
          {trans.__('Reference')}
          <input className="jp-mod-styled" value={reference} onChange={event => setReference(event.target.value)} />
          <small>{trans.__('For ever; made if left empty')}</small>
        </label>
      )}
      {fields.map(one => (
        <Entry
          key={one.name}
          client={client}
          field={one}
          text={now[one.name] ?? ''}
          error={errors[one.name] ?? ''}
          set={text => setNow({ ...now, [one.name]: text })}
        />
      ))}
      {error && (
        <p className="wl-problem" role="alert">
          {error}
        </p>
      )}
      <div className="wl-buttons">
        <button type="button" className="jp-mod-styled" onClick={props.cancel}>
          {trans.__('Cancel')}
        </button>
        <button type="submit" className="jp-mod-styled jp-mod-accept" disabled={isBusy}>
          {entity ? trans.__('Save') : trans.__('Create')}
        </button>
      </div>
    </form>
  );
}

function Entry(props: {
  client: Client;
  field: Field;
  text: string;
  error: string;
  set: (text: string) => void;
}): JSX.Element {
  const { field, text, error, set } = props;
  const id = React.useId();
  const shared = {
    id,
    value: text,
    required: field.isRequired,
    'aria-invalid': Boolean(error),
    'aria-describedby': `${id}-help`,
    className: 'jp-mod-styled'
  };
  const isChoice = field.input === 'choice' || field.input === 'boolean';
  const choices = field.input === 'boolean' ? ['', 'true', 'false'] : [...new Set(['', ...field.choices])];
  return (
    <div className="wl-entry">
      <label htmlFor={id}>
        {field.label}
        {field.unit && <span className="wl-hint"> {field.unit}</span>}
      </label>
      {isChoice ? (
        <select {...shared} onChange={event => set(event.target.value)}>
          {choices.map(one => (
            <option key={one}>{one}</option>
          ))}
        </select>
      ) : field.input === 'long' || field.input === 'json' ? (
        <textarea {...shared} rows={3} onChange={event => set(event.target.value)} />
      ) : field.to.length ? (
        <Relation {...props} shared={shared} list={`${id}-list`} />
      ) : (
        <input
          {...shared}
          type="text"
          inputMode={field.input === 'number' || field.input === 'integer' ? 'decimal' : undefined}
          maxLength={field.limits.length}
          placeholder={field.input === 'time' ? '2026-01-31T12:00:00Z' : field.example}
          onChange={event => set(event.target.value)}
        />
      )}
      <small id={`${id}-help`} className={error ? 'wl-problem' : ''} role={error ? 'alert' : undefined}>
        {error || field.help}
      </small>
    </div>
  );
}

/** The reference of an entity, or several with commas; what fits is proposed while one writes. */
function Relation(props: {
  client: Client;
  field: Field;
  text: string;
  set: (text: string) => void;
  shared: object;
  list: string;
}): JSX.Element {
  const { client, field, text } = props;
  const [found, setFound] = React.useState<Entity[]>([]);
  const word = text.split(',').pop()!.trim();
  React.useEffect(() => {
    if (word.length < 2) {
      return;
    }
    const abort = new AbortController();
    const timer = setTimeout(() => {
      const query = { reference: `${word}*`, limit: 20 };
      client
        .get<Page<Entity>>('/entities', { query, signal: abort.signal })
        .then(page => setFound(page.items), () => setFound([]));
    }, 200);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [client, word]);
  const before = text.slice(0, text.length - text.split(',').pop()!.length);
  return (
    <>
      <input {...props.shared} type="text" list={props.list} onChange={event => props.set(event.target.value)} />
      <datalist id={props.list} aria-label={field.label}>
        {found.map(one => (
          <option key={one.uid} value={`${before}${one.reference}`}>
            {one.title}
          </option>
        ))}
      </datalist>
    </>
  );
}
