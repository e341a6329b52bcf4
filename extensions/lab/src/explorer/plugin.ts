import { ILayoutRestorer } from '@jupyterlab/application';
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, Notification } from '@jupyterlab/apputils';
import { INotebookTracker, NotebookActions } from '@jupyterlab/notebook';
import { IStateDB } from '@jupyterlab/statedb';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import type { TranslationBundle } from '@jupyterlab/translation';
import { IWendelinClient } from '../client/token.js';
import { explorerIcon } from '../parts/icons.js';
import { opening, plotting } from './code.js';
import type { Target } from './code.js';
import { startDrag } from './drag.js';
import { ExplorerPanel } from './panel.js';
import type { Kept } from './panel.js';

const ID = 'wendelin-lab:explorer';

export const CommandIDs = {
  show: 'wendelin:show-explorer',
  refresh: 'wendelin:refresh-explorer',
  insert: 'wendelin:insert-code',
  plot: 'wendelin:insert-plot'
};

export const explorerPlugin: JupyterFrontEndPlugin<void> = {
  id: ID,
  description: 'Entities and arrays in the left sidebar.',
  autoStart: true,
  requires: [IWendelinClient],
  optional: [ICommandPalette, ILayoutRestorer, IStateDB, INotebookTracker, ISettingRegistry, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    client: IWendelinClient,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null,
    states: IStateDB | null,
    notebooks: INotebookTracker | null,
    settings: ISettingRegistry | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load('wendelin_lab');
    const kernel = (): string => notebooks?.currentWidget?.sessionContext.session?.kernel?.name ?? '';
    const panel = new ExplorerPanel(
      client,
      trans,
      {
        insert: target => put(notebooks, opening(target, kernel()), trans),
        drag: (target, event) => startDrag(opening(target, kernel()), event.nativeEvent, target.reference)
      }
    );
    // Not awaited: what JupyterLab keeps is there when it is restored, and that waits for us.
    const first = settings?.load(ID).then(
      found => found.get('view').composite as Kept['view'],
      () => undefined
    );
    void Promise.all([states?.fetch(ID), first]).then(
      ([kept, view]) => panel.begin({ ...(view && { view }), ...(kept as Partial<Kept> | undefined) }),
      () => panel.begin({})
    );
    panel.keeping.connect((_, found) => void states?.save(ID, { ...found } as never));
    restorer?.add(panel, panel.id);
    app.shell.add(panel, 'left', { rank: 350, type: 'Wendelin' });

    const code = (make: (target: Target, kernel: string) => string): void => {
      if (panel.target) {
        put(notebooks, make(panel.target, kernel()), trans);
      }
    };
    const described = { type: 'object', properties: {} } as const;
    app.commands.addCommand(CommandIDs.show, {
      label: trans.__('Show the Explorer of Wendelin'),
      icon: explorerIcon,
      describedBy: { args: described },
      execute: () => {
        app.shell.activateById(panel.id);
        panel.focusSearch();
      }
    });
    app.commands.addCommand(CommandIDs.refresh, {
      label: trans.__('Refresh the Explorer'),
      describedBy: { args: described },
      execute: () => panel.refresh()
    });
    app.commands.addCommand(CommandIDs.insert, {
      label: trans.__('Insert Code that Opens It'),
      describedBy: { args: described },
      isEnabled: () => panel.target !== null,
      execute: () => code(opening)
    });
    app.commands.addCommand(CommandIDs.plot, {
      label: trans.__('Insert Code that Plots It'),
      describedBy: { args: described },
      isEnabled: () => panel.target?.array !== undefined,
      execute: () => code(plotting)
    });
    for (const command of Object.values(CommandIDs).filter(id => app.commands.hasCommand(id))) {
      palette?.addItem({ command, category: 'Wendelin' });
    }
  }
};

/** Code into the notebook that was used last: its active cell when that is an empty one, else a new cell below. */
function put(notebooks: INotebookTracker | null, source: string, trans: TranslationBundle): void {
  const notebook = notebooks?.currentWidget;
  if (!notebook) {
    Notification.info(trans.__('Open a notebook: the code goes into its active cell, or into a new one below.'), {
      autoClose: 5000
    });
    return;
  }
  const language = notebook.content.model?.defaultKernelLanguage || 'python';
  if (language !== 'python') {
    Notification.warning(trans.__('The code would be Python, and this notebook is %1.', language), { autoClose: 5000 });
    return;
  }
  const active = notebook.content.activeCell?.model;
  if (!active || active.type !== 'code' || active.sharedModel.getSource().trim()) {
    NotebookActions.insertBelow(notebook.content);
  }
  notebook.content.activeCell?.model.sharedModel.setSource(source);
  notebook.content.activate();
}
