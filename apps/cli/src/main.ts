/** The `bailiff` command. */

import { run } from './run.ts';
import { processIo } from './shared/io.ts';

const exitCode = await run(process.argv.slice(2), processIo());
// A command that handed its terminal on (lab) has set its own.
if (exitCode !== 0 || process.exitCode === undefined) process.exitCode = exitCode;
