//! What the keywords of bytes hold of: as Suricata 7.0.10 says of the same signatures on the same bytes.

use super::super::tests::{Scene, UP};

/// Signatures' conditions behind `content:"|01 02|";` on the bytes 0 to 19, one a line, `+` before those that hold.
const FORMS: &str = r#"
+ byte_extract:1,0,v;content:"|01|";within:1
+ byte_extract:1,1,v;content:"|02|";within:1
+ byte_extract:1,1,v;content:"|02|";within:v
+ byte_extract:1,1,v;content:"|03|";distance:1;within:1
+ byte_extract:1,1,v;content:"|03|";distance:v
+ byte_extract:1,1,v;content:"|03|";distance:v;within:1
+ byte_extract:1,1,v;content:"|05|";distance:v;within:3
+ byte_extract:1,2,v;content:"|03|";offset:v;depth:2
+ byte_extract:1,2,v;content:"|03|";offset:v;depth:v
+ byte_extract:1,2,v;content:"|04|";offset:3;depth:v
+ byte_extract:1,2,v;content:"|04|";within:v
+ byte_extract:1,2,v;content:"|05|";distance:1;within:v
+ byte_extract:1,2,v;content:"|05|";distance:v
+ byte_extract:1,2,v;content:"|05|";distance:v;within:1
+ byte_extract:1,2,v;content:"|05|";distance:v;within:2
+ byte_extract:1,2,v;content:"|05|";distance:v;within:3
+ byte_extract:1,2,v;content:"|05|";distance:v;within:v
+ byte_extract:1,2,v;content:"|06|";distance:v;within:2
+ byte_extract:1,2,v;content:"|06|";distance:v;within:v
+ byte_extract:1,3,v;byte_test:1,=,v,v
+ byte_extract:1,3,v;content:"|03|";offset:2;depth:v
+ byte_extract:1,3,v;content:"|04|";distance:0;within:v
+ byte_extract:1,3,v;content:"|04|";offset:2;depth:v
+ byte_extract:1,3,v;content:"|04|";within:v
+ byte_extract:1,3,v;content:"|05|";offset:v
+ byte_extract:1,3,v;content:"|05|";offset:v;depth:3
+ byte_extract:1,3,v;content:"|05|";offset:v;depth:v
+ byte_extract:1,3,v;content:"|06|";distance:0;within:v
+ byte_extract:1,3,v;content:"|06|";within:v
+ byte_extract:1,3,v;content:"|07|";distance:v;within:1
+ byte_extract:1,3,v;content:"|08|";distance:2;within:v
+ byte_extract:1,3,v;content:"|09|";distance:v;within:v
+ byte_extract:1,4,v;content:"|04|";offset:3;depth:v
+ byte_extract:1,4,v;content:"|04|";offset:v
+ byte_extract:1,5,v;content:"|04|";depth:v
+ byte_extract:1,5,v;content:"|06|";within:1
+ byte_extract:1,9,v,align 4;isdataat:v
+ byte_extract:1,9,v,multiplier 2;isdataat:v
+ byte_extract:1,9,v,relative;isdataat:v
+ byte_extract:1,9,v;isdataat:v
+ byte_extract:2,0,v,little;byte_test:2,=,v,0,little
+ byte_jump:0,3
+ byte_jump:1,0,from_end
+ byte_jump:1,0,from_end,post_offset -20
+ byte_jump:1,0,from_end,post_offset -21
+ byte_jump:1,0,from_end,post_offset -25;content:"|00|";within:1
+ byte_jump:1,1,relative,post_offset -50
+ byte_jump:1,1,relative,post_offset -50;content:"|00|";within:1
+ byte_jump:1,18,from_beginning,align
+ byte_jump:1,19,from_beginning
+ byte_jump:1,19,from_beginning,post_offset 1
+ byte_jump:1,3,multiplier 5
+ byte_jump:1,4,multiplier 3
+ byte_jump:1,5,align,multiplier 2
+ byte_jump:1,6,relative
+ byte_jump:1,6,relative,post_offset 1
+ byte_jump:1,7,align
+ byte_jump:1,9,post_offset -19
+ byte_jump:1,9,post_offset -20
+ byte_jump:1,9,post_offset -20;byte_test:1,=,0,0,relative
+ byte_jump:1,9,post_offset -20;content:"|00|";within:1
+ byte_jump:1,9,post_offset -20;isdataat:19,relative
+ byte_jump:1,9,post_offset -20;isdataat:20,relative
+ byte_jump:1,9,post_offset -30
+ byte_jump:1,9,post_offset -30;content:"|00|";within:1
+ byte_jump:1,9,post_offset 1
+ byte_jump:1,9,post_offset 1;byte_test:1,>,0,-1,relative
+ byte_jump:1,9,post_offset 1;content:!"x";within:5
+ byte_jump:1,9,post_offset 1;content:"|13|";distance:-1
+ byte_jump:1,9,post_offset 1;isdataat:!1,relative
+ byte_jump:1,9,post_offset 1;isdataat:0,relative
+ byte_jump:1,9,post_offset 1;pcre:!"/x/R"
+ byte_jump:1,9,post_offset 1;pcre:"/$/R"
+ byte_jump:1,9,post_offset 1;pcre:"/^$/R"
+ byte_math:bytes 1,offset 0,oper +,rvalue 2,result r,relative;byte_test:1,=,r,5
+ byte_math:bytes 1,offset 2,oper >>,rvalue 1,result r;byte_test:1,=,r,1
+ byte_math:bytes 1,offset 3,oper *,rvalue 2,result r;isdataat:r
+ byte_math:bytes 1,offset 3,oper +,rvalue 2,result r;byte_test:1,=,r,5
+ byte_math:bytes 1,offset 3,oper -,rvalue 5,result r;byte_test:1,!=,r,0
+ byte_math:bytes 1,offset 5,oper +,rvalue 3,result r,bitmask 0xf8;byte_test:1,=,r,1
+ byte_math:bytes 1,offset 6,oper /,rvalue 2,result r;byte_test:1,=,r,3
+ byte_test:1,&,4,5
+ byte_test:1,<=,4,4
+ byte_test:1,=,0,-3,relative
+ byte_test:1,=,1,-2,relative
+ byte_test:1,=,19,16,relative
+ byte_test:1,=,19,19
+ byte_test:1,=,2,9,bitmask 0x0c
+ byte_test:1,=,5,5,bitmask 0x0f
+ byte_test:1,>=,4,4
+ byte_test:1,^,4,5
+ byte_test:3,=,0x030405,3
+ byte_test:4,>,0,16
+ byte_test:8,>,5,3
+ content:!"|12|";endswith
+ content:!"|13|";distance:17
+ content:"|00 01|";depth:2
+ content:"|00|";distance:-10;within:11
+ content:"|00|";distance:-3;within:1
+ content:"|00|";distance:-4
+ content:"|00|";startswith
+ content:"|01 02|";offset:1;depth:2
+ content:"|01|";distance:-2;within:1
+ content:"|02|";distance:-1;within:1
+ content:"|03|";offset:3;depth:1
+ content:"|03|";offset:3;depth:1;content:"|05|";distance:1;within:1
+ content:"|04|";distance:1;within:1
+ content:"|12 13|";distance:5;endswith
+ content:"|13|";distance:16
+ content:"|13|";endswith
+ content:"|13|";within:17
+ dsize:19<>21
+ dsize:20
+ isdataat:!18,relative
+ isdataat:!20
+ isdataat:16,relative
+ isdataat:17,relative
+ isdataat:19
+ pcre:"/\x00/A"
+ pcre:"/\x04/R"
+ pcre:"/\x05(.)/";content:"|07|";distance:0;within:1
+ pcre:"/\x05/";content:"|06|";distance:0;within:1
+ pcre:"/\x09$/m"
+ pcre:"/\x09.\x0b/s"
+ pcre:"/\x0a/s"
+ pcre:"/\x13/E"
+ pcre:"/\x13$/"
+ pcre:"/\x13\z/"
+ pcre:"/^\x00/"
+ pcre:"/^\x03/R"
+ pcre:"/^\x0b/m"
- byte_extract:1,0,v;content:"|03|";within:1
- byte_extract:1,1,v;content:"|03|";distance:0;within:v
- byte_extract:1,1,v;content:"|03|";within:1
- byte_extract:1,1,v;content:"|03|";within:v
- byte_extract:1,1,v;content:"|04|";distance:1;within:1
- byte_extract:1,1,v;content:"|04|";offset:3;depth:v
- byte_extract:1,1,v;content:"|05|";distance:2;within:v
- byte_extract:1,16,v;isdataat:v,relative
- byte_extract:1,17,v;isdataat:v,relative
- byte_extract:1,2,v;content:"|03|";offset:v;depth:1
- byte_extract:1,2,v;content:"|04|";offset:v;depth:2
- byte_extract:1,2,v;content:"|04|";offset:v;depth:v
- byte_extract:1,3,v;content:"|05|";offset:2;depth:v
- byte_extract:1,3,v;content:"|05|";offset:v;depth:2
- byte_extract:1,3,v;content:"|06|";offset:v;depth:v
- byte_extract:1,3,v;content:"|07|";distance:0;within:v
- byte_extract:1,3,v;content:"|07|";within:v
- byte_extract:1,3,v;content:"|09|";distance:2;within:v
- byte_extract:1,3,v;content:"|0a|";distance:2;within:v
- byte_extract:1,4,v;content:"|04|";depth:v
- byte_extract:1,5,v;content:"|03|";within:1
- byte_extract:1,5,v;content:"|04|";offset:v
- byte_jump:1,0,from_end,post_offset 1
- byte_jump:1,13,align
- byte_jump:1,16,relative
- byte_jump:1,19,from_beginning,post_offset 2
- byte_jump:1,5,from_end
- byte_jump:1,5,multiplier 3
- byte_jump:1,6,relative,post_offset 2
- byte_jump:1,6,relative,post_offset 3
- byte_jump:1,9,post_offset 1;byte_test:1,>,0,0,relative
- byte_jump:1,9,post_offset 1;isdataat:!0,relative
- byte_jump:1,9,post_offset 2
- byte_jump:2,0,little
- byte_jump:4,0
- byte_math:bytes 1,offset 2,oper <<,rvalue 2,result r;byte_test:1,=,r,16
- byte_test:1,!&,4,5
- byte_test:1,!<,5,3
- byte_test:1,!=,0,-4,relative
- byte_test:1,!=,0,20
- byte_test:1,!^,4,5
- byte_test:1,=,0,-4,relative
- byte_test:1,=,18,16,relative
- byte_test:1,=,19,20
- byte_test:2,=,4626,17
- byte_test:2,=,4626,18
- byte_test:4,>,0,17
- content:!"|00|";distance:-10;within:10
- content:"|01 02|";depth:2
- content:"|04|";distance:2;within:1
- content:"|12|";endswith
- content:"|13|";distance:17
- content:"|13|";within:16
- dsize:!20
- dsize:20<>22
- dsize:<20
- isdataat:!17,relative
- isdataat:18,relative
- isdataat:20
- pcre:"/\x01/A"
- pcre:"/\x02/R"
- pcre:"/\x05/";content:"|07|";distance:0;within:1
- pcre:"/\x09.\x0b/"
- pcre:"/^\x04/R"
"#;

#[test]
fn every_form_holds_where_suricata_says() {
    let bytes: Vec<u8> = (0..20).collect();
    for form in FORMS.trim().lines() {
        let (sign, options) = form.split_at(2);
        let rule =
            format!(r#"alert tcp any any -> any any (content:"|01 02|"; {options}; sid:1;)"#);
        let mut scene = Scene::new(&rule);
        let packet = scene.packet_view(UP, &bytes);
        let holds = !scene
            .inspect(&packet, |m, c, f, s| m.packet(c, f, s))
            .is_empty();
        assert_eq!(holds, sign == "+ ", "{options}");
    }
}
