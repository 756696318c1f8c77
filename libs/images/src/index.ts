export { createImagesService, type ImagesDeps } from './service.ts'
