/** Texts of the definition files in k8s/crds. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { definitions } from './definitions.ts';

export const CRD_DIRECTORY = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../../../k8s/crds');
const HEAD = '# Generated from libs/policy by `npx tsx libs/policy/src/crd/main.ts`; a test compares both.\n';

export function crdFiles(): { file: string; text: string }[] {
  return definitions().map(({ file, definition }) => {
    // kubectl reads YAML 1.1, where a bare "off" is a boolean. Anchors would save lines, but
    // readers of a definition do not expect them.
    const text = stringify(definition, { version: '1.1', lineWidth: 0, aliasDuplicateObjects: false });
    return { file, text: HEAD + text };
  });
}
