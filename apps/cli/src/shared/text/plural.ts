/** Counts and lists as text. Pure. */
export { plural, shortList } from '@bailiff/response';
