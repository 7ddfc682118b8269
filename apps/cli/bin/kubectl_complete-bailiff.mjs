#!/usr/bin/env node
// kubectl runs it to complete `kubectl bailiff`, with the words that follow.
process.argv.splice(2, 0, '__complete', '--');
await import('./bailiff.mjs');
