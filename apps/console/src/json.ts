/**
 * Views as JSON. Characters that reorder, hide or break text are shown as their codes, as in the CLI:
 * names from tenants and nodes must not imitate others.
 */
import { escapeUnsafe } from '@bailiff/service/printable';

export function toJson(view: unknown): string {
  return JSON.stringify(view, (key, value: unknown) => {
    // A file is saved, not shown.
    if (typeof value !== 'string' || key === 'file') return value;
    // A remedy may list names, one a line.
    return escapeUnsafe(key === 'remedy' || key === 'yaml' ? value : value.replaceAll(/[\n\t]/g, ' '), '\n');
  });
}
