/**
 * `npm run dependencies`: the gate on npm packages (docs/dependencies.md). The rules of rules.ts, and
 * known vulnerabilities where the registry answers `npm audit`.
 *
 * Exit codes: 0; 1 a violation or an open advisory; 7 with --require-audit: the registry did not answer.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { readAdvisories } from '../release/vex.ts';
import { type Audit, type Lock, type Manifest, openAdvisories, packagesOf, violationsOf } from './rules.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const AUDIT_TIMEOUT_MS = 120_000;
const read = (file: string) => readFileSync(path.join(ROOT, file), 'utf8');
const print = (text: string) => process.stdout.write(`${text}\n`);

/** Folders with a lock file: the workspace, and the generator of the site, which is no part of the product. */
const PLACES = [
  { folder: '.', isTool: false },
  { folder: 'tools/site', isTool: true },
];

/** @returns a text: why the registry was not asked or did not answer */
function audit(folder: string): Audit | string {
  // .npmrc turns the audit off for installations.
  const args = ['audit', '--json', '--audit=true'];
  const options = { cwd: path.join(ROOT, folder), encoding: 'utf8', timeout: AUDIT_TIMEOUT_MS } as const;
  const { stdout, error } = spawnSync('npm', args, options);
  if (error) return error.message;
  try {
    const report = JSON.parse(stdout) as Audit & { message?: string; statusCode?: number };
    return report.vulnerabilities === undefined ? `the registry answers ${report.statusCode ?? 'nothing'}` : report;
  } catch {
    return 'npm printed no report';
  }
}

function main(): number {
  const { values } = parseArgs({ options: { 'require-audit': { type: 'boolean' } } });
  const { reviewed, advisories } = readAdvisories(read('docs/advisories.yaml'));
  const accepted = new Set(advisories.map(({ id }) => id));
  let found = 0;
  let unchecked = 0;
  for (const { folder, isTool } of PLACES) {
    const lock = JSON.parse(read(path.join(folder, 'package-lock.json'))) as Lock;
    const manifest = JSON.parse(read(path.join(folder, 'package.json'))) as Manifest;
    const violations = violationsOf(manifest, lock, isTool);
    const report = audit(folder);
    const open = typeof report === 'string' ? [] : openAdvisories(report, accepted);
    print(`${folder}: ${packagesOf(lock).length} packages`);
    print(`  pins, hashes, licences, install scripts: ${violations.length} violations`);
    print(
      typeof report === 'string'
        ? `  known vulnerabilities: not checked (${report}). docs/advisories.yaml was reviewed on ${reviewed}`
        : `  known vulnerabilities: ${open.length} open advisories`,
    );
    for (const line of [...violations, ...open]) print(`  ${line}`);
    found += violations.length + open.length;
    unchecked += Number(typeof report === 'string');
  }
  if (found > 0) return 1;
  return unchecked > 0 && values['require-audit'] === true ? 7 : 0;
}

process.exitCode = main();
