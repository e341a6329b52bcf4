import { LabIcon } from '@jupyterlab/ui-components';

const svg = (body: string): string =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24"><g class="jp-icon3" fill="#616161">${body}</g></svg>`;

/** A plant with what hangs below it. */
export const explorerIcon = new LabIcon({
  name: 'wendelin-lab:explorer',
  svgstr: svg('<path d="M3 3h8v6H8v3h5v-2h8v6h-8v-2H8v5h5v-2h8v6h-8v-2H6V9H3z"/>')
});

/** Marks on a line of time. */
export const transactionsIcon = new LabIcon({
  name: 'wendelin-lab:transactions',
  svgstr: svg('<path d="M5 2h2v3.2a3 3 0 0 1 0 5.6v2.4a3 3 0 0 1 0 5.6V22H5v-3.2a3 3 0 0 1 0-5.6v-2.4a3 3 0 0 1 0-5.6zM11 7h10v2H11zm0 8h10v2H11z"/>')
});

/** Cells. */
export const arrayIcon = new LabIcon({
  name: 'wendelin-lab:array',
  svgstr: svg('<path d="M3 4h18v16H3zm2 2v3h4V6zm6 0v3h8V6zm-6 5v3h4v-3zm6 0v3h8v-3zm-6 5v2h4v-2zm6 0v2h8v-2z"/>')
});
