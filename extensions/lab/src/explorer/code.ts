/** The Python that a notebook gets for what was chosen in the explorer. */

export interface Target {
  /** An entity's reference. */
  reference: string;
  /** The name of an array that it carries. */
  array?: string;
}

const KEYWORDS = new Set(
  ('False None True and as assert async await break class continue def del elif else except finally for from global if ' +
    'import in is lambda nonlocal not or pass raise return try while with yield match case type db root np wendelin').split(' ')
);

/** A name that Python takes, made of any text. */
export function variable(text: string): string {
  const plain = text.normalize('NFKD').replace(/[\u0300-\u036f]/g, '').toLowerCase();
  const name = plain.replace(/[^a-z0-9]+/g, '_').replace(/^_+|_+$/g, '');
  const valid = /^[a-z]/.test(name) ? name : `data_${name}`.replace(/_$/, '');
  return KEYWORDS.has(valid) ? `${valid}_` : valid;
}

/** Lines that open an entity or its array. In the Wendelin kernel the database is open, as `db`. */
export function opening(target: Target, kernel: string): string {
  const db = kernel === 'wendelin' ? 'db' : 'wendelin.connect()';
  const entity = `wendelin.entities(${db})[${quoted(target.reference)}]`;
  const name = variable(target.reference);
  return `import wendelin\n\n${name} = ${entity}${target.array ? `.${target.array}` : ''}\n${name}`;
}

/** Lines that plot the last rows of an array. */
export function plotting(target: Target, kernel: string): string {
  const name = variable(target.reference);
  const lines = opening(target, kernel).split('\n').slice(0, -1).join('\n');
  return (
    `from bokeh.io import output_notebook, show\nfrom bokeh.plotting import figure\n${lines}\n\n` +
    `rows = ${name}[-10_000:]\noutput_notebook(hide_banner=True)\n` +
    `plot = figure(title=${quoted(target.reference)}, height=300, sizing_mode="stretch_width")\n` +
    `plot.line(range(len(rows)), rows)\nshow(plot)`
  );
}

function quoted(text: string): string {
  return JSON.stringify(text);
}
