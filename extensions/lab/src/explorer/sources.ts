/** What the explorer's trees are made of: entities by role, by asset, or as a search finds them. */

import type { ArrayInfo, Entity, Page, TypeInfo } from '../client/api.js';
import type { Client } from '../client/client.js';
import type { Item, Items, Load } from './tree.js';

const PAGE = 500;
export const ROLES = ['node', 'resource', 'item', 'path', 'movement'] as const;

export interface Filter {
  text: string;
  state: string;
}

type Query = Record<string, string | string[]>;

/** The five roles of the business model, their types, the entities of these, and the arrays that they carry. */
export function byRole(client: Client, filter: Filter, title: (role: string) => string): Load {
  return async (_next, signal) => {
    const types = (await client.get<Page<TypeInfo>>('/types', { signal })).items;
    const items = ROLES.map(role => ({
      id: role,
      kind: 'group' as const,
      label: title(role),
      hint: '',
      load: async () => ({ items: types.filter(one => one.roles.includes(role)).map(ofType), next: '' })
    }));
    return { items, next: '' };
  };
  function ofType(info: TypeInfo): Item {
    const query = { ...(filter.state ? { state: filter.state } : {}), type: info.type };
    return { id: info.type, kind: 'group', label: info.type, load: search(client, query, carried(client)) };
  }
}

/** Assets that are part of no other one, what is part of them, their devices, the sensors of these, and their arrays. */
export function byAsset(client: Client, filter: Filter): Load {
  return async (next, signal) => {
    if (next) {
      return page(client, next, undefined, below, signal);
    }
    const types = (await client.get<Page<TypeInfo>>('/types', { signal })).items;
    const assets = new Set(types.map(one => one.type).filter(type => ASSETS.has(type)));
    const found = await Promise.all(
      [...assets].map(type => page(client, '', { type, ...(filter.state ? { state: filter.state } : {}) }, below, signal))
    );
    const unique = new Map(found.flatMap(one => one.items).map(item => [item.id, item]));
    return { items: [...unique.values()].filter(item => !item.isPart), next: '' };
  };
  function below(entity: Entity): Load | undefined {
    if (ASSETS.has(entity.type)) {
      return parts(client, entity, ['parent', 'asset'], below, one => one.type !== 'sensor' || !one.device);
    }
    if (entity.type === 'device') {
      return parts(client, entity, ['device'], below);
    }
    return entity.type === 'sensor' ? withArrays(client, entity, ['sensor'], below) : carried(client)(entity);
  }
}

const ASSETS = new Set(['asset', 'plant', 'turbine', 'vehicle']);
const PARTS = new Set([...ASSETS, 'device', 'sensor', 'stream']);

/** What words and references find, the best first. */
export function bySearch(client: Client, filter: Filter): Load {
  const query: Query = { text: filter.text, ...(filter.state ? { state: filter.state } : {}) };
  return search(client, query, carried(client));
}

type Below = (entity: Entity) => Load | undefined;
type EntityItem = Item & { isPart?: boolean };

function search(client: Client, query: Query, below: Below): Load {
  return (next, signal) => page(client, next, query, below, signal);
}

async function page(
  client: Client,
  next: string,
  query: Query | undefined,
  below: Below,
  signal: AbortSignal
): Promise<Items & { items: EntityItem[] }> {
  const asked = next ? {} : { ...query, limit: PAGE };
  const found = await client.get<Page<Entity>>(next || '/entities', { query: asked, signal });
  const items = found.items.map(entity => shown(entity, below(entity)));
  return { items, next: found._links.next?.href ?? '', total: found.total };
}

/** What points to an entity with one of some relations. */
function parts(client: Client, of: Entity, relations: string[], below: Below, fits = (_: Entity): boolean => true): Load {
  return async (_next, signal) => {
    const pages = await Promise.all(
      relations.map(relation => everything(client, { related: [`${relation}=${of.uid}`] }, signal))
    );
    const entities = pages.flat().filter(entity => PARTS.has(entity.type) && fits(entity));
    return { items: entities.map(entity => shown(entity, below(entity))), next: '' };
  };
}

function withArrays(client: Client, of: Entity, relations: string[], below: Below): Load {
  const own = carried(client)(of);
  const others = parts(client, of, relations, below);
  return async (next, signal) => {
    const [arrays, entities] = await Promise.all([own ? own(next, signal) : null, others(next, signal)]);
    return { items: [...(arrays?.items ?? []), ...entities.items], next: '' };
  };
}

async function everything(client: Client, query: Query, signal: AbortSignal): Promise<Entity[]> {
  const found: Entity[] = [];
  let next = '/entities';
  while (next) {
    const asked = found.length ? {} : { ...query, limit: PAGE };
    const one = await client.get<Page<Entity>>(next, { query: asked, signal });
    found.push(...one.items);
    next = one._links.next?.href ?? '';
  }
  return found;
}

/** The arrays that an entity carries, by its links. */
function carried(client: Client): Below {
  return entity => {
    const links = Object.entries(entity._links).filter(([name]) => name.startsWith('array:'));
    if (!links.length) {
      return undefined;
    }
    return async (_next, signal) => {
      const infos = await Promise.all(links.map(([, link]) => client.get<ArrayInfo>(link.href, { signal })));
      const items = infos.map((info, index) => {
        const [name, link] = links[index]!;
        const label = name.slice('array:'.length);
        return { id: name, kind: 'array' as const, label, hint: `${shapeOf(info)} ${dtypeOf(info)}`, href: link.href };
      });
      return { items, next: '' };
    };
  };
}

export function shown(entity: Entity, load?: Load): EntityItem {
  const label = entity.title || entity.reference;
  const hint = entity.title ? entity.reference : '';
  const href = entity._links.self?.href;
  return { id: entity.uid, kind: 'entity', label, hint, state: entity.state, href, load, isPart: Boolean(entity.parent) };
}

export function shapeOf(info: ArrayInfo): string {
  return info.shape.join(' × ') || 'scalar';
}

export function dtypeOf(info: ArrayInfo): string {
  return typeof info.dtype === 'string' ? info.dtype : `${info.dtype.length} fields`;
}
