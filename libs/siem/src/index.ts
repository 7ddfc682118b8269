export { CLASSES } from './classes.ts';
export {
  type Origin,
  omissionEvent,
  originOf,
  type Place,
  type SiemEvent,
  violationEvents,
} from './event.ts';
export { type Rendered, render } from './render.ts';
