import { clientPlugin } from './client/plugin.js';
import { explorerPlugin } from './explorer/plugin.js';

export { IWendelinClient } from './client/token.js';

export default [clientPlugin, explorerPlugin];
