export type { IntrospectionSettings } from './catalogue.ts'
export { createIntrospectionService, type IntrospectionDeps } from './service.ts'
export { createVersionService, type VersionDeps } from './version.ts'
