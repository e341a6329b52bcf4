/** What the REST door answers; docs/reference/rest.md and its openapi.json say more. */

export interface Link {
  href: string;
  method: string;
  templated?: boolean;
}

/** Every answer names what its reader may do next: what is not among the links is not offered. */
export interface Resource {
  _links: Record<string, Link>;
}

export interface Root extends Resource {
  title: string;
  version: string;
  user: string;
  roles: string[];
}

export interface Page<T> extends Resource {
  items: T[];
  total?: number;
}

export interface TypeInfo extends Resource {
  type: string;
  description: string;
  roles: string[];
  workflow: string;
  prefix: string;
}

export interface Transition {
  name: string;
  from: string[];
  to: string;
  roles: string[];
  title: string;
}

export interface TypeDetail extends TypeInfo {
  states: string[];
  transitions: Transition[];
  arrays: string[];
  form: Schema;
}

/** The part of JSON schema that forms are made from. */
export interface Schema {
  type?: string;
  title?: string;
  description?: string;
  default?: Value;
  enum?: string[];
  examples?: Value[];
  anyOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  format?: string;
  minimum?: number;
  maximum?: number;
  maxLength?: number;
  'x-unit'?: string;
  'x-relation'?: { to: string[]; many: boolean; on_delete: string };
}

export type Value = string | number | boolean | null | Value[] | { [name: string]: Value };

/** An entity; fields and relations stand beside these members. */
export interface Entity extends Resource {
  uid: string;
  type: string;
  reference: string;
  state: string;
  created: string;
  modified: string;
  creator: string;
  title?: string;
  [name: string]: unknown;
}

export interface Transitions extends Resource {
  state: string;
  items: Transition[];
}

export interface TrailEntry {
  when: string;
  who: string;
  kind: string;
  why: string;
  from_state: string;
  to_state: string;
  name: string;
  before: string;
  after: string;
}

export interface ArrayInfo extends Resource {
  path: string;
  shape: number[];
  dtype: string | [string, string][];
  order: string;
  axis: number | null;
  nbytes: number;
  block: number;
  changed: string | null;
}

export interface TransactionItem {
  tid: string;
  time: string;
  user: string;
  note: string;
  size: number | null;
}
