import assert from 'node:assert/strict';
import test from 'node:test';
import { changesOf, fieldsOf, textOf } from '../explorer/fields.js';

const form = {
  properties: {
    owner: { anyOf: [{ type: 'string' }, { type: 'null' }], 'x-relation': { to: ['organisation'], many: false, on_delete: 'refuse' } },
    title: { type: 'string', maxLength: 500 },
    kind: { type: 'string', enum: ['', 'solar'] },
    peak_power: { anyOf: [{ type: 'string', 'x-unit': 'kW', description: 'power with its unit', examples: ['12.5 kW'] }, { type: 'null' }] },
    modules: { anyOf: [{ type: 'integer', minimum: 0 }, { type: 'null' }] },
    keywords: { type: 'array', items: { type: 'string' } }
  }
};

test('inputs follow the schema, relations come last', () => {
  const fields = fieldsOf(form);
  assert.deepEqual(
    fields.map(one => [one.name, one.input]),
    [['title', 'text'], ['kind', 'choice'], ['peak_power', 'text'], ['modules', 'integer'], ['keywords', 'list'], ['owner', 'relation']]
  );
  assert.deepEqual([fields[2]!.label, fields[2]!.unit, fields[2]!.example], ['Peak power', 'kW', '12.5 kW']);
});

test('only what was changed is sent; empty means null, or no items', () => {
  const before = { title: 'Roof', modules: '12', keywords: 'a, b', owner: 'u1' };
  const changes = changesOf(fieldsOf(form), before, { ...before, modules: '13', keywords: '', owner: '' });
  assert.deepEqual(changes, { values: { modules: 13, keywords: [], owner: null }, errors: {} });
});

test('what is no number is told at its field', () => {
  assert.deepEqual(changesOf(fieldsOf(form), {}, { modules: 'many' }).errors, { modules: 'many is no number' });
});

test('values are shown as they are typed', () => {
  assert.deepEqual([textOf(null), textOf(['a', 'b']), textOf(1.5), textOf({ a: 1 })], ['', 'a, b', '1.5', '{"a":1}']);
});
