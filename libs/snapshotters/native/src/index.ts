export { copyTree } from './copy-tree.ts'
export { native } from './driver.ts'
