export * from './facts.ts';
export * from './guards.ts';
export * from './ids.ts';
export * from './plan.ts';
export * from './policy-book.ts';
export * from './quarantine.ts';
export * from './records.ts';
export * from './service-status.ts';
