import * as React from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Entity, Page, Root, TrailEntry, Transition, Transitions, TypeDetail } from '../client/api.js';
import type { Answer, Client } from '../client/client.js';
import { isAbort } from '../client/client.js';
import { Badge, Notice, messageOf } from '../parts/notice.js';
import type { Target } from './code.js';
import { fieldsOf, textOf } from './fields.js';
import { Form } from './form.js';

export interface Loaded {
  entity: Answer<Entity>;
  type: TypeDetail;
  /** What may become of it, as far as its reader may decide; the link to send it to. */
  transitions: Transition[];
  names: Map<string, Entity>;
}

/** An entity with all that its pane shows. */
export async function load(client: Client, href: string, signal: AbortSignal): Promise<Loaded> {
  const entity = await client.read<Entity>(href, { signal });
  const links = entity.body._links;
  const [type, root, possible] = await Promise.all([
    client.get<TypeDetail>(links.type!.href, { signal }),
    client.root(),
    links.do && links.transitions ? client.get<Transitions>(links.transitions.href, { signal }) : null
  ]);
  const mine = (possible?.items ?? []).filter(one => may(root, one));
  return { entity, type, transitions: mine, names: await related(client, entity.body, type, signal) };
}

function may(root: Root, transition: Transition): boolean {
  return transition.roles.some(role => root.roles.includes(role));
}

/** The entities that its relations point to, by uid; at most 50 are looked up. */
async function related(client: Client, entity: Entity, type: TypeDetail, signal: AbortSignal): Promise<Map<string, Entity>> {
  const names = fieldsOf(type.form).filter(one => one.input.startsWith('relation'));
  const uids = new Set(names.flatMap(one => [entity[one.name]].flat()).filter((one): one is string => Boolean(one)));
  const found = await Promise.all(
    [...uids].slice(0, 50).map(uid => client.get<Entity>(`/entities/${encodeURIComponent(uid)}`, { signal }).catch(() => null))
  );
  return new Map(found.filter((one): one is Entity => one !== null).map(one => [one.uid, one]));
}

/** Fields, relations, trail and what one may do, of the entity that is chosen. */
export function Detail(props: {
  client: Client;
  href: string;
  trans: TranslationBundle;
  show: (href: string) => void;
  insert: (target: Target) => void;
  changed: () => void;
}): JSX.Element {
  const { client, href, trans } = props;
  const [found, setFound] = React.useState<Loaded | null>(null);
  const [error, setError] = React.useState<unknown>(null);
  const [isEdited, setEdited] = React.useState(false);
  const [round, setRound] = React.useState(0);
  React.useEffect(() => {
    const abort = new AbortController();
    setError(null);
    load(client, href, abort.signal).then(setFound, (problem: unknown) => !isAbort(problem) && setError(problem));
    return () => abort.abort();
  }, [client, href, round]);
  React.useEffect(() => setEdited(false), [href]);
  const again = (): void => setRound(round + 1);
  const saved = (): void => {
    setEdited(false);
    again();
    props.changed();
  };
  if (error) {
    return <Notice trans={trans} error={error} retry={again} />;
  }
  if (!found || found.entity.body._links.self?.href !== href) {
    return <Notice trans={trans} text={trans.__('Loading …')} />;
  }
  const entity = found.entity.body;
  const links = entity._links;
  if (isEdited) {
    return (
      <Form
        client={client}
        trans={trans}
        type={found.type}
        entity={found.entity}
        link={links.update!}
        done={saved}
        cancel={() => setEdited(false)}
      />
    );
  }
  return (
    <article className="wl-detail" aria-label={entity.reference}>
      <header>
        <h3>{entity.title || entity.reference}</h3>
        <p>
          {found.type.type} <code>{entity.reference}</code> <Badge state={entity.state} />
        </p>
        <p className="wl-help">{found.type.description}</p>
      </header>
      <Actions {...props} found={found} edit={() => setEdited(true)} done={saved} />
      <Fields found={found} trans={trans} show={props.show} />
      <Arrays entity={entity} trans={trans} insert={props.insert} />
      {links.trail && <TrailOf key={`${href} ${round}`} client={client} href={links.trail.href} trans={trans} />}
    </article>
  );
}

function Actions(props: {
  client: Client;
  trans: TranslationBundle;
  found: Loaded;
  edit: () => void;
  done: () => void;
}): JSX.Element | null {
  const { client, trans, found } = props;
  const links = found.entity.body._links;
  const [error, setError] = React.useState<unknown>(null);
  const [taken, setTaken] = React.useState<Transition | null>(null);
  const [why, setWhy] = React.useState('');
  const take = (): void => {
    setError(null);
    client.write(links.do!, { name: taken!.name, why }, found.entity.etag).then(() => {
      setTaken(null);
      setWhy('');
      props.done();
    }, setError);
  };
  return (
    <div className="wl-actions">
      {links.update && (
        <button className="jp-mod-styled" onClick={props.edit}>
          {trans.__('Edit')}
        </button>
      )}
      {found.transitions.map(one => (
        <button
          key={one.name}
          className="jp-mod-styled"
          title={one.title}
          aria-pressed={taken === one}
          onClick={() => setTaken(taken === one ? null : one)}
        >
          {one.name.replace(/_/g, ' ')}
        </button>
      ))}
      {taken && (
        <form
          className="wl-form"
          onSubmit={event => {
            event.preventDefault();
            take();
          }}
        >
          <label>
            {trans.__('Why, for the trail')}
            <input className="jp-mod-styled" value={why} onChange={event => setWhy(event.target.value)} autoFocus />
          </label>
          <button className="jp-mod-styled jp-mod-accept" type="submit">
            {trans.__('From %1 to %2', found.entity.body.state, taken.to)}
          </button>
        </form>
      )}
      {error !== null && (
        <p className="wl-problem" role="alert">
          {messageOf(error)}
        </p>
      )}
    </div>
  );
}

function Fields(props: { found: Loaded; trans: TranslationBundle; show: (href: string) => void }): JSX.Element {
  const { found, trans, show } = props;
  const entity = found.entity.body;
  const fields = fieldsOf(found.type.form).filter(one => textOf(entity[one.name]) !== '');
  return (
    <dl className="wl-fields">
      {fields.map(one => (
        <React.Fragment key={one.name}>
          <dt title={one.help}>{one.label}</dt>
          <dd>
            {one.input.startsWith('relation')
              ? ([entity[one.name]].flat() as string[]).map(uid => <Related key={uid} uid={uid} found={found} show={show} />)
              : valueText(entity[one.name])}
          </dd>
        </React.Fragment>
      ))}
      <dt>{trans.__('Created')}</dt>
      <dd>
        <time dateTime={entity.created}>{moment(entity.created)}</time> {entity.creator}
      </dd>
      <dt>{trans.__('Modified')}</dt>
      <dd>
        <time dateTime={entity.modified}>{moment(entity.modified)}</time>
      </dd>
    </dl>
  );
}

function Related(props: { uid: string; found: Loaded; show: (href: string) => void }): JSX.Element {
  const entity = props.found.names.get(props.uid);
  const href = entity?._links.self?.href;
  if (!entity || !href) {
    return <code>{props.uid}</code>;
  }
  return (
    <button className="wl-link" onClick={() => props.show(href)} title={`${entity.type} ${entity.reference}`}>
      {entity.title || entity.reference}
    </button>
  );
}

function Arrays(props: {
  entity: Entity;
  trans: TranslationBundle;
  insert: (target: Target) => void;
}): JSX.Element | null {
  const names = Object.keys(props.entity._links)
    .filter(name => name.startsWith('array:'))
    .map(name => name.slice('array:'.length));
  if (!names.length) {
    return null;
  }
  return (
    <section>
      <h4>{props.trans.__('Arrays')}</h4>
      {names.map(array => (
        <button
          key={array}
          className="jp-mod-styled"
          onClick={() => props.insert({ reference: props.entity.reference, array })}
        >
          {props.trans.__('Open %1 in the Notebook', array)}
        </button>
      ))}
    </section>
  );
}

function TrailOf(props: { client: Client; href: string; trans: TranslationBundle }): JSX.Element {
  const { client, href, trans } = props;
  const [entries, setEntries] = React.useState<TrailEntry[] | null>(null);
  const [error, setError] = React.useState<unknown>(null);
  React.useEffect(() => {
    const abort = new AbortController();
    client.get<Page<TrailEntry>>(href, { signal: abort.signal }).then(
      page => setEntries([...page.items].reverse()),
      (problem: unknown) => !isAbort(problem) && setError(problem)
    );
    return () => abort.abort();
  }, [client, href]);
  return (
    <section>
      <h4>{trans.__('Trail')}</h4>
      {error !== null && <Notice trans={trans} error={error} />}
      <ol className="wl-trail">
        {entries?.map((one, index) => (
          <li key={index}>
            <time dateTime={one.when}>{moment(one.when)}</time> <b>{one.who}</b> {told(one)}
            {one.why && <q>{one.why}</q>}
          </li>
        ))}
      </ol>
    </section>
  );
}

function told(entry: TrailEntry): string {
  if (entry.kind === 'transition') {
    return `${entry.from_state} → ${entry.to_state}`;
  }
  if (entry.kind === 'changed') {
    return `${entry.name}: ${entry.before || '–'} → ${entry.after || '–'}`;
  }
  return [entry.kind, entry.name].filter(Boolean).join(' ');
}

/** Quantities come as objects of value and unit, or as text. */
export function valueText(value: unknown): string {
  if (typeof value === 'object' && value !== null && 'value' in value && 'unit' in value) {
    const { value: number, unit } = value as { value: number; unit: string };
    return `${number} ${unit}`;
  }
  return textOf(value);
}

export function moment(text: string): string {
  const time = new Date(text);
  return Number.isNaN(time.valueOf()) ? text : time.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
}
