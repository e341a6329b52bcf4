/** Forms from the JSON schema of a type: which inputs there are, and what they mean. No DOM here. */

import type { Schema, Value } from '../client/api.js';

export type Input = 'text' | 'long' | 'number' | 'integer' | 'choice' | 'boolean' | 'time' | 'list' | 'relation' | 'relations' | 'json';

export interface Field {
  name: string;
  label: string;
  input: Input;
  help: string;
  isRequired: boolean;
  choices: string[];
  example: string;
  unit: string;
  /** The types that a relation may point to. */
  to: string[];
  limits: { min?: number; max?: number; length?: number };
}

/** The inputs of a type's form, fields before relations. */
export function fieldsOf(form: Schema): Field[] {
  const found = Object.entries(form.properties ?? {}).map(([name, schema]) => field(name, schema, form.required ?? []));
  return [...found.filter(one => !one.input.startsWith('relation')), ...found.filter(one => one.input.startsWith('relation'))];
}

function field(name: string, schema: Schema, required: string[]): Field {
  const inner = schema.anyOf?.find(one => one.type !== 'null') ?? schema;
  const relation = schema['x-relation'] ?? inner['x-relation'];
  const unit = inner['x-unit'] ?? '';
  const help = [schema.description, inner === schema ? '' : inner.description].filter(Boolean).join('; ');
  const examples = schema.examples ?? inner.examples ?? [];
  return {
    name,
    label: worded(name),
    input: relation ? (relation.many ? 'relations' : 'relation') : inputOf(name, inner),
    help: relation ? `${schema.description ?? ''} (${relation.to.join(', ')})`.trim() : help,
    isRequired: required.includes(name),
    choices: inner.enum ?? [],
    example: examples.length ? String(examples[0]) : '',
    unit,
    to: relation?.to ?? [],
    limits: { min: inner.minimum, max: inner.maximum, length: inner.maxLength }
  };
}

function inputOf(name: string, schema: Schema): Input {
  if (schema.enum) {
    return 'choice';
  }
  if (schema.type === 'array') {
    return schema.items?.type === 'string' ? 'list' : 'json';
  }
  if (schema.type === 'string') {
    return schema.format === 'date-time' ? 'time' : name === 'description' ? 'long' : 'text';
  }
  return schema.type === 'number' || schema.type === 'integer' || schema.type === 'boolean' ? schema.type : 'json';
}

/** `peak_power` as people write it. */
export function worded(name: string): string {
  const words = name.replace(/_/g, ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** A value as an input shows it. */
export function textOf(value: unknown): string {
  if (value === null || value === undefined) {
    return '';
  }
  if (Array.isArray(value) && value.every(one => typeof one === 'string')) {
    return value.join(', ');
  }
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** What an input's text means to the server. Throws an Error in words for what cannot be read at all. */
export function valueOf(field: Field, text: string): Value {
  const trimmed = text.trim();
  if (field.input === 'list' || field.input === 'relations') {
    return trimmed.split(',').map(one => one.trim()).filter(Boolean);
  }
  if (trimmed === '') {
    return null;
  }
  switch (field.input) {
    case 'number':
    case 'integer': {
      const number = Number(trimmed);
      if (Number.isNaN(number)) {
        throw new Error(`${trimmed} is no number`);
      }
      return number;
    }
    case 'boolean':
      return trimmed === 'true';
    case 'json':
      return JSON.parse(trimmed) as Value;
    case 'long':
      return text;
    default:
      return trimmed;
  }
}

/** What has to be sent: only what was changed. Errors are by field. */
export function changesOf(
  fields: Field[],
  before: Record<string, string>,
  now: Record<string, string>
): { values: Record<string, Value>; errors: Record<string, string> } {
  const values: Record<string, Value> = {};
  const errors: Record<string, string> = {};
  for (const one of fields) {
    const text = now[one.name] ?? '';
    if (text === (before[one.name] ?? '')) {
      continue;
    }
    try {
      values[one.name] = valueOf(one, text);
    } catch (error) {
      errors[one.name] = error instanceof Error ? error.message : String(error);
    }
  }
  return { values, errors };
}
