export { type ContentService, type ContentServiceDeps, createContentService } from './content-service.ts'
