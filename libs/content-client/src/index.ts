export { ContentWriter } from './content-writer.ts'
export { readBlob } from './read-blob.ts'
export { refLocked } from './ref-locked.ts'
