import assert from 'node:assert/strict';
import test from 'node:test';
import { Tree } from '../explorer/tree.js';
import type { Item, Items } from '../explorer/tree.js';

const leaf = (id: string): Item => ({ id, kind: 'entity', label: id });
const labels = (tree: Tree): string[] => tree.rows.map(row => '  '.repeat(row.depth) + (row.item.label || row.item.hint || '…'));

function pages(count: number, size: number): (next: string) => Promise<Items> {
  return async next => {
    const start = Number(next || 0);
    const items = Array.from({ length: Math.min(size, count - start) }, (_, index) => leaf(`e${start + index}`));
    return { items, next: start + size < count ? String(start + size) : '', total: count };
  };
}

test('what is opened is loaded once, and shown again without a question', async () => {
  let asked = 0;
  const load = async (): Promise<Items> => ({ items: [leaf(`child ${++asked}`)], next: '' });
  const tree = new Tree(async () => ({ items: [{ ...leaf('top'), load }], next: '' }), () => undefined);
  await tree.start();
  await tree.toggle(tree.rows[0]!);
  assert.deepEqual(labels(tree), ['top', '  child 1']);
  await tree.toggle(tree.rows[0]!);
  assert.deepEqual(labels(tree), ['top']);
  await tree.toggle(tree.rows[0]!);
  assert.deepEqual(labels(tree), ['top', '  child 1']);
});

test('pages follow when the row at their end is asked for, each once', async () => {
  const tree = new Tree(pages(100_000, 5000), () => undefined);
  await tree.start();
  assert.equal(tree.rows.length, 5001);
  assert.equal(tree.total, 100_000);
  await Promise.all([tree.more(tree.rows[5000]!), tree.more(tree.rows[5000]!)]);
  assert.equal(tree.rows.length, 10_001);
  while (tree.rows[tree.rows.length - 1]!.item.kind === 'more') {
    await tree.more(tree.rows[tree.rows.length - 1]!);
  }
  assert.equal(tree.rows.length, 100_000);
});

test('what was open before a reload is opened again, as deep as it was', async () => {
  const load = async (): Promise<Items> => ({ items: [{ ...leaf('b'), load: async () => ({ items: [leaf('c')], next: '' }) }], next: '' });
  const tree = new Tree(async () => ({ items: [{ ...leaf('a'), load }], next: '' }), () => undefined, ['/a', '/a/b']);
  await tree.start();
  assert.deepEqual(labels(tree), ['a', '  b', '    c']);
});

test('a failure is a row, and opening again tries again', async () => {
  let works = false;
  const load = async (): Promise<Items> => {
    if (!works) {
      throw new Error('the server is away');
    }
    return { items: [], next: '' };
  };
  const tree = new Tree(async () => ({ items: [{ ...leaf('top'), load }], next: '' }), () => undefined);
  await tree.start();
  await tree.toggle(tree.rows[0]!);
  assert.deepEqual(labels(tree), ['top', '  the server is away']);
  works = true;
  await tree.toggle(tree.rows[0]!, false);
  await tree.toggle(tree.rows[0]!, true);
  assert.deepEqual(labels(tree), ['top', '  empty']);
});

test('nothing is told after closing', async () => {
  let told = 0;
  const tree = new Tree(pages(3, 3), () => told++);
  const started = tree.start();
  tree.close();
  const before = told;
  await started;
  assert.equal(told, before);
});
