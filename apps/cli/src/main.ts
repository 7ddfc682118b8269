/** Entry point of the `bailiff` command. */

import { run } from './run.ts';
import { endAfterLinger, processIo } from './shared/io.ts';

const io = processIo();
const exitCode = await run(process.argv.slice(2), io);
// `lab` hands its terminal to another program and sets the exit code itself.
if (exitCode !== 0 || process.exitCode === undefined) process.exitCode = exitCode;
endAfterLinger(io);
