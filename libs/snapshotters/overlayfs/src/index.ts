export { type OverlayfsOptions, overlayfs } from './driver.ts'
