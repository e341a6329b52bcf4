import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { Client } from './client.js';
import { IWendelinClient } from './token.js';

export const clientPlugin: JupyterFrontEndPlugin<IWendelinClient> = {
  id: 'wendelin-lab:client',
  description: 'The REST door of Wendelin on this Jupyter server.',
  autoStart: true,
  provides: IWendelinClient,
  activate: (app: JupyterFrontEnd) => {
    const settings = app.serviceManager.serverSettings;
    const base = URLExt.join(new URL(settings.baseUrl, location.href).href, 'wendelin/api/v1');
    return new Client((url, init) => ServerConnection.makeRequest(url, init, settings), base);
  }
};
