export { createLeasesService, type LeasesDeps } from './service.ts'
