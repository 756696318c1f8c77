export { erofs } from './driver.ts'
