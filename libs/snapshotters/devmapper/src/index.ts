export { type DevmapperOptions, devmapper } from './driver.ts'
