export { type ProxyOptions, proxy } from './driver.ts'
