export { eventFields } from './event.ts'
export { type Adaptor, type FieldValue, type Matcher, parseFilters } from './filter.ts'
export {
  activationFields,
  containerFields,
  contentFields,
  imageFields,
  ingestFields,
  leaseFields,
  pluginFields,
  sandboxFields,
  snapshotFields,
} from './objects.ts'
