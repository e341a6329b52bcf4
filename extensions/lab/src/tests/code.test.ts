import assert from 'node:assert/strict';
import test from 'node:test';
import { opening, variable } from '../explorer/code.js';

test('names are ones that Python takes, and none of its own', () => {
  assert.deepEqual(['PLANT-4', '4 roofs', 'Dach für Öl', 'class', '---', 'db'].map(variable), [
    'plant_4', 'data_4_roofs', 'dach_fur_ol', 'class_', 'data', 'db_'
  ]);
});

test('the Wendelin kernel has the database open; others connect', () => {
  assert.equal(
    opening({ reference: 'SEN-1', array: 'array' }, 'wendelin'),
    'import wendelin\n\nsen_1 = wendelin.entities(db)["SEN-1"].array\nsen_1'
  );
  assert.match(opening({ reference: 'a"b' }, 'python3'), /wendelin\.entities\(wendelin\.connect\(\)\)\["a\\"b"\]/);
});
