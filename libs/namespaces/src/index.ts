export { createNamespacesService, type NamespacesDeps } from './service.ts'
