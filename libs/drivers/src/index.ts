export { createDrivers, type Drivers, type DriversDeps } from './service.ts'
