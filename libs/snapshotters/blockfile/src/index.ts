export { type BlockfileOptions, blockfile } from './driver.ts'
