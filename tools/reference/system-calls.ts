/** docs/reference/system-calls.md: system calls and io_uring operations, and the hooks that judge them. */
import { HOOKS_WITHOUT_PROGRAM } from '../../test/lsm/hooks.ts';
import { CALLS_WITHOUT_OBJECT, type CallRow, JUDGED_CALLS, UNJUDGED_CALLS } from '../../test/lsm/system-calls.ts';
import { page, section, table } from './markdown.ts';

const rowsOf = (rows: readonly CallRow[]): string[][] =>
  rows.map(({ calls, how, tests }) => [calls.join(', '), how, tests.join('; ')]);

export function systemCallsPage(): string {
  const about = [
    'For reviewers of [LSM hooks](../runtime-hooks.md): every system call of Linux 6.12 and 7.3 on x86-64, every io_uring operation, and the hooks that have no program.',
    'Tests are in `test/lsm`. `syscalls.test.ts` tries each call denied, beside the denial, and without a policy.',
  ].join('\n');
  return page('System calls', about, [
    section('Judged', table(['calls', 'hook', 'test'], rowsOf(JUDGED_CALLS))),
    section(
      'Not judged',
      'Policies deny content and change. These calls pass beside a denial of the same object.',
      table(['calls', 'why no hook', 'test'], rowsOf(UNJUDGED_CALLS)),
    ),
    section(
      'Without an object',
      'These take no path, file descriptor, address or other task, so there is nothing to deny.',
      table(
        ['calls', 'what they concern'],
        rowsOf(CALLS_WITHOUT_OBJECT).map((row) => row.slice(0, 2)),
      ),
    ),
    section('Hooks without a program', table(['hook', 'why not'], HOOKS_WITHOUT_PROGRAM)),
  ]);
}
