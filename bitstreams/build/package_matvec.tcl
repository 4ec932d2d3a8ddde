# SPDX-License-Identifier: Apache-2.0
# Packages kernels/rtl as a Vitis kernel. vivado -mode batch -source package_matvec.tcl -tclargs PART RTL XML WORK XO
lassign $argv part rtl xml work xo
set kernel sluice_matvec_int4

create_project -force package "$work/project" -part $part
add_files -norecurse [glob "$rtl/*.sv"]
set_property top $kernel [current_fileset]
update_compile_order -fileset sources_1

ipx::package_project -root_dir "$work/ip" -vendor sluice -library kernel -taxonomy /KernelIP -import_files -force
set core [ipx::current_core]
set_property name $kernel $core
set_property version 1.0 $core
set_property sdx_kernel true $core
set_property sdx_kernel_type rtl $core
set_property supported_families {} $core
set_property auto_family_support_level level_2 $core

# Every port belongs to an interface, and every interface to the clock.
foreach bus {s_axi_control m_axi_gmem} {
    if {[llength [ipx::get_bus_interfaces -quiet $bus -of_objects $core]] != 1} {
        error "the packager did not find the interface $bus"
    }
    ipx::associate_bus_interfaces -busif $bus -clock ap_clk $core
}
ipx::associate_bus_interfaces -clock ap_clk -reset ap_rst_n $core
set master [ipx::get_bus_interfaces m_axi_gmem -of_objects $core]
foreach {name value} {MAX_BURST_LENGTH 16 NUM_READ_OUTSTANDING 32 NUM_WRITE_OUTSTANDING 4 SUPPORTS_NARROW_BURST 0 HAS_WRAP 0} {
    set parameter [ipx::add_bus_parameter -quiet $name $master]
    set_property value $value $parameter
    set_property value_source constant $parameter
}
ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
close_project

package_xo -force -xo_path $xo -kernel_name $kernel -kernel_xml $xml -ip_directory "$work/ip" -ctrl_protocol ap_ctrl_hs
