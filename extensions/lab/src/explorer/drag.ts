import { MimeData } from '@lumino/coreutils';
import { Drag } from '@lumino/dragdrop';

const DISTANCE = 5;
const CELLS = 'application/vnd.jupyter.cells';

/** Follow a press of the mouse: once it has moved, code is dragged, as text for editors and as a cell for notebooks. */
export function startDrag(source: string, press: PointerEvent, label: string): void {
  if (press.button !== 0 || press.pointerType === 'touch') {
    return;
  }
  const stop = (): void => {
    document.removeEventListener('pointermove', move, true);
    document.removeEventListener('pointerup', stop, true);
  };
  const move = (event: PointerEvent): void => {
    if (Math.hypot(event.clientX - press.clientX, event.clientY - press.clientY) < DISTANCE) {
      return;
    }
    stop();
    const mimeData = new MimeData();
    mimeData.setData('text/plain', source);
    mimeData.setData(CELLS, [{ cell_type: 'code', source, metadata: {}, outputs: [], execution_count: null }]);
    const dragImage = document.createElement('div');
    dragImage.className = 'wl-drag';
    dragImage.textContent = label;
    const drag = new Drag({ mimeData, dragImage, supportedActions: 'copy', proposedAction: 'copy' });
    void drag.start(event.clientX, event.clientY).then(() => drag.dispose());
  };
  document.addEventListener('pointermove', move, true);
  document.addEventListener('pointerup', stop, true);
}
