/** Writes docs/reference: `npm run reference`. Removes files without a page. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { referencePages } from './pages.ts';
import { ROOT } from './source-text.ts';

const directory = path.join(ROOT, 'docs/reference');
const pages = await referencePages();
mkdirSync(directory, { recursive: true });
for (const file of readdirSync(directory)) if (!pages.has(file)) rmSync(path.join(directory, file));
for (const [file, text] of pages) writeFileSync(path.join(directory, file), text);
process.stdout.write(`docs/reference: ${pages.size} pages\n`);
