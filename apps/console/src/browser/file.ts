/** Saves a file that the server made. Its text is never part of the page. */
import type { FileView } from '../wire.ts';

/** How long a browser may take to begin. */
const KEEP_MS = 60_000;

export function save({ name, file }: FileView, type: string): void {
  const url = URL.createObjectURL(new Blob([file], { type }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), KEEP_MS);
}
