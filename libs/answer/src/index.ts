export * from './ids.ts';
export * from './quarantine.ts';
export * from './records.ts';
