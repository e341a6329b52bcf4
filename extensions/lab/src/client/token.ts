import { Token } from '@lumino/coreutils';
import type { Client } from './client.js';

/** The REST door, for this package's plugins and for others. */
export type IWendelinClient = Client;

export const IWendelinClient = new Token<IWendelinClient>('wendelin-lab:IWendelinClient', 'The REST door of Wendelin.');
