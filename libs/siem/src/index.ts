export { activityOf, CLASSES, type ClassName, namespaceOf, severityOf } from './classes.ts';
export {
  type Omission,
  type Origin,
  omissionEvent,
  originOf,
  type Place,
  type SiemEvent,
  timeMicrosOf,
  uidOf,
  type ViolationEvent,
  violationEvents,
} from './event.ts';
export { type Rendered, render } from './render.ts';
