/** Runtime policies: merging, compiling to map entries, the decision as a pure function. Start at set.ts. */
export * from './compile.ts';
export type { AddressEntry, AddressRuleEntry } from './compile-addresses.ts';
export type { PathEntry, PathRuleEntry } from './compile-paths.ts';
export * from './encode.ts';
export * from './errors.ts';
export * from './explain.ts';
export * from './hash.ts';
export * from './json-schema.ts';
export { ADDRESS_RULES, COUNTER_EXTRA, PATH_RULES, VALUE_RULES } from './layout.ts';
export * from './load.ts';
export * from './merge.ts';
export * from './model.ts';
export * from './names.ts';
export * from './places.ts';
export * from './select.ts';
export * from './set.ts';
