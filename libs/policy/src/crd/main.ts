/** Writes k8s/crds: `npx tsx libs/policy/src/crd/main.ts`. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { CRD_DIRECTORY, crdFiles } from './files.ts';

mkdirSync(CRD_DIRECTORY, { recursive: true });
for (const { file, text } of crdFiles()) writeFileSync(path.join(CRD_DIRECTORY, file), text);
