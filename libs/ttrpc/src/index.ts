export { ttrpcClientOf } from './client.ts'
export { connectTtrpc, TtrpcConnection } from './connection.ts'
export { maxDataBytes } from './frames.ts'
export { serveTtrpc, type TtrpcServer, type TtrpcService } from './server.ts'
